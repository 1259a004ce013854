"""Charging over real HTTP: what is an answer, and what means that nobody knows."""

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from charging_service import attempt, instruments

from fake_processor import AFTER, DECLINED, HARMLESS, closed_port
from matinee.errors import MatineeError
from matinee.service.charging.gateway import Answer, NoAnswerError
from matinee.service.charging.http_gateway import MOST_BYTES, HttpGateway, gateways_of, url_problem
from matinee.service.charging.settings import GatewaySettings, PaymentsSettings
from matinee.service.toml import read_settings

CARD = instruments()[0]
PAID = Answer(status="approved", code="00", fee=12)


def gateway(processor, timeout=30.0, **more):
    return HttpGateway("goldcard", processor.url, timeout=timeout, **more)


def test_a_charge_is_answered_and_found_again(processor):
    mine = gateway(processor)
    assert mine.find("d1") is None
    assert mine.charge(attempt("d1"), CARD) == PAID
    assert mine.find("d1") == PAID
    assert processor.charges == {
        "d1": {
            "attempt_id": "d1",
            "invoice_id": "i1",
            "instrument_id": "c1a",
            "network": "visa",
            "amount": 1000,
            "currency": "EUR",
            "initiator": "merchant",
        }
    }


def test_a_decline_brings_its_codes(processor):
    processor.answer = lambda body: {**DECLINED, "category": "3", "advice": "02", "penalty": 10}
    answer = gateway(processor).charge(attempt("d1"), CARD)
    assert answer == Answer(
        status="declined",
        code="51",
        category="3",
        advice="02",
        processor_code="insufficient_funds",
        fee=3,
        penalty=10,
    )


@pytest.mark.parametrize("key", ["a/../b", "a b", "ü", "a\r\nX: y", "?x=1", "%2F", "日本"])
def test_any_id_is_a_key(processor, key):
    mine = gateway(processor)
    assert mine.charge(attempt(key), CARD) == PAID
    assert mine.find(key) == PAID
    assert mine.find(key + "x") is None


@pytest.mark.parametrize("fault", [*AFTER, "refuse", "busy", "late"])
def test_what_is_no_answer_may_have_been_charged(processor, fault):
    mine = gateway(processor, timeout=0.5 if fault == "slow" else 30.0)
    processor.fault = lambda method, key: fault
    with pytest.raises(NoAnswerError):
        mine.charge(attempt("d1"), CARD)
    if fault != "late":
        with pytest.raises(NoAnswerError):
            mine.find("d1")
    processor.fault = lambda method, key: ""
    assert mine.find("d1") == (PAID if fault in AFTER else None)


@pytest.mark.parametrize("fault", HARMLESS)
def test_what_comes_twice_counts_once(processor, fault):
    processor.fault = lambda method, key: fault
    mine = gateway(processor)
    assert [mine.charge(attempt(key), CARD) for key in ("d1", "d2")] == [PAID, PAID]
    assert processor.approved() == {"i1": 2}  # two attempts, one charge each


def test_a_processor_that_is_not_there():
    mine = HttpGateway("goldcard", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(NoAnswerError, match="goldcard did not answer"):
        mine.charge(attempt(), CARD)


class _Raw:
    """Answers every request with these bytes, and then `goes_on` until the other side hangs up."""

    def __init__(self, *answer, goes_on=b"", context=None):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                for piece in answer:
                    self.wfile.write(piece)
                while goes_on:
                    self.wfile.write(goes_on)
                    pause.wait(0.02)

            do_POST = do_GET  # noqa: N815 - as the server calls it

        pause = threading.Event()
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        scheme = "http"
        if context is not None:
            scheme = "https"
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


HEAD = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"approved"',
        b'{"status": "approved"}',
        b'{"attempt_id": "d1"}',
        b'{"attempt_id": "d1", "status": "Approved"}',
        b'{"attempt_id": "d1", "status": "sent"}',
        b'{"attempt_id": "d1", "status": "unknown"}',
        b'{"attempt_id": "d1", "status": "absent"}',
        b'{"attempt_id": "d2", "status": "approved"}',
        b'{"attempt_id": "d1", "status": "approved", "fee": "12"}',
        b'{"attempt_id": "d1", "status": "approved", "fee": NaN}',
        b'{"attempt_id": "d1", "status": "approved", "code": "\xff"}',
        b"[" * 5_000,
        b" " * MOST_BYTES + b'{"attempt_id": "d1", "status": "approved"}',
    ],
)  # fmt: skip
def test_nonsense_is_no_answer(body):
    with _Raw(HEAD, body) as server:
        mine = HttpGateway("goldcard", server.url)
        with pytest.raises(NoAnswerError):
            mine.charge(attempt("d1"), CARD)
        with pytest.raises(NoAnswerError):
            mine.find("d1")


@pytest.mark.parametrize("body", [b"", b"<h1>Not Found</h1>", b'{"status": "absent"}', b"{}",
                                  b'{"attempt_id": "d2", "status": "absent"}'])  # fmt: skip
def test_only_the_processor_itself_says_that_it_never_heard_of_a_charge(body):
    with _Raw(b"HTTP/1.0 404 Not Found\r\n\r\n", body) as server, pytest.raises(NoAnswerError):
        HttpGateway("goldcard", server.url).find("d1")


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [((HEAD,), b" "), ((), b"X"), ((b"HTTP/1.0 200 OK\r\n",), b"A: b\r\n"),
     ((), b"HTTP/1.1 100 Continue\r\n\r\n")],
)  # fmt: skip
def test_an_answer_without_end_is_none(begins, goes_on):
    with _Raw(*begins, goes_on=goes_on) as server, pytest.raises(NoAnswerError):
        HttpGateway("goldcard", server.url, timeout=0.3).find("d1")


def test_the_token_goes_with_every_request_and_nowhere_else(caplog):
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            heard.append(self.headers["Authorization"])
            self.send_error(401)

        do_POST = do_GET  # noqa: N815 - as the server calls it

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        mine = HttpGateway("goldcard", f"http://127.0.0.1:{server.server_port}", "s3cret")
        with pytest.raises(NoAnswerError, match="goldcard answered 401") as failure:
            mine.charge(attempt(), CARD)
        with pytest.raises(NoAnswerError):
            mine.find("d1")
        server.shutdown()
        thread.join()
    assert heard == ["Bearer s3cret"] * 2
    assert "s3cret" not in f"{failure.value!r} {caplog.text} {vars(failure.value)}"


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=False, capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    answer = b'{"attempt_id": "d1", "status": "approved"}'
    with _Raw(HEAD, answer, context=context) as server:
        with pytest.raises(NoAnswerError, match="CERTIFICATE_VERIFY_FAILED"):
            HttpGateway("goldcard", server.url).charge(attempt("d1"), CARD)
        trusting = ssl.create_default_context(cafile=certificate)
        mine = HttpGateway("goldcard", server.url, context=trusting)
        assert mine.charge(attempt("d1"), CARD) == Answer(status="approved")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://pay.example/v1", "is not https"),
        ("http://localhost.example", "is not https"),
        ("http://10.0.0.1", "is not https"),
        ("ftp://127.0.0.1", "does not begin with https://"),
        ("pay.example", "does not begin with https://"),
        ("https://", "does not begin with https://"),
        ("", "does not begin with https://"),
        ("https://me:secret@pay.example", "more than a host"),
        ("https://pay.example?key=1", "more than a host"),
        ("https://pay.example/#x", "more than a host"),
        ("https://pay.example:99999", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://pay.example/a b", "spaces"),
        ("https://pay.example/\nx", "spaces"),
        ("https://pay.exämple", "ASCII"),
    ],
)
def test_urls_that_are_refused(url, told):
    assert told in url_problem(url)
    with pytest.raises(MatineeError, match=r"the gateway goldcard cannot be used") as error:
        HttpGateway("goldcard", url)
    assert "[payments.gateways.goldcard]" in error.value.next_step
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["https://pay.example", "https://pay.example:8443/v1/", "http://127.0.0.1:9000",
            "http://127.9.9.9", "http://[::1]:9000/x", "http://localhost:1"],
)  # fmt: skip
def test_urls_that_are_taken(url):
    assert url_problem(url) is None


def test_gateways_are_named_in_the_settings(tmp_path):
    file = tmp_path / "matinee.toml"
    file.write_text(
        '[payments]\ntimeout = "5s"\n[payments.gateways.goldcard]\nurl = "https://pay.example"\n'
        'token_env = "GOLD"\n[payments.gateways."uk-card"]\nurl = "http://127.0.0.1:9"\n'
    )
    settings = read_settings(file).payments
    assert set(gateways_of(settings, {"GOLD": "t"})) == {"goldcard", "uk-card"}
    assert gateways_of(PaymentsSettings(), {}) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[payments.gateways.goldcard]\ntoken_env = "X"\n',
         "line 1, payments.gateways.goldcard: url is missing"),
        ('[payments.gateways.goldcard]\nurl = "x"\ntoken = "s"\n',
         "line 3, payments.gateways.goldcard.token: unknown key: did you mean 'token_env'"),
        ("[payments]\nconcurrency = 0\n", "line 2, payments.concurrency: Expected `int` >= 1"),
        ('[payments]\nround = "soon"\n', "line 2, payments.round: 'soon' is no duration"),
    ],
)  # fmt: skip
def test_mistakes_in_the_settings_are_told(tmp_path, text, told):
    file = tmp_path / "matinee.toml"
    file.write_text(text)
    with pytest.raises(MatineeError) as error:
        read_settings(file)
    assert told in error.value.why


@pytest.mark.parametrize(
    ("environ", "told"),
    [({}, "GOLD is empty or not set"), ({"GOLD": ""}, "GOLD is empty or not set"),
     ({"GOLD": "a\nb"}, "GOLD holds spaces"), ({"GOLD": "ü"}, "GOLD holds spaces")],
)  # fmt: skip
def test_a_token_that_is_missing_or_no_token(environ, told):
    one = GatewaySettings(url="https://pay.example", token_env="GOLD")  # noqa: S106 - its name
    with pytest.raises(MatineeError) as error:
        gateways_of(PaymentsSettings(gateways={"goldcard": one}), environ)
    assert told in error.value.why
    assert "GOLD" in error.value.next_step
