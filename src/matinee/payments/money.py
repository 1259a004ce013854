"""Money of one currency in that of the service."""

from __future__ import annotations

from collections.abc import Mapping

_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
EXPONENTS = {
    **dict.fromkeys(_NONE.split(" "), 0),
    **dict.fromkeys(_THREE.split(" "), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Decimals of the currencies that have not two (ISO 4217, list one)."""


def unit(currency: str, rates: Mapping[str, float]) -> float:
    """What a minor unit of a currency is worth; `rates` say it of a whole one. `KeyError` where
    they do not; without any rate there is one currency, and each is worth 1.

    >>> unit("EUR", {}), unit("JPY", {"EUR": 1.0, "JPY": 0.006})
    (0.01, 0.006)
    """
    rate = rates[currency] if rates else 1.0
    return float(rate / 10 ** EXPONENTS.get(currency, 2))
