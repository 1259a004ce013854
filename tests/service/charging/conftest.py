"""A processor, a way to it, a clock, and a service with one invoice that is due."""

import pytest
from charging_service import Clock, new_service

from fake_processor import FakeProcessor
from matinee.service.charging.http_gateway import HttpGateway


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(tmp_path):
    with new_service(tmp_path / "shows", 1) as made:
        yield made


@pytest.fixture
def processor():
    with FakeProcessor() as made:
        yield made


@pytest.fixture
def gateways(processor):
    return {"goldcard": HttpGateway("goldcard", processor.url)}
