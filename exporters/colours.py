"""One colour and one pattern for each category, wherever it is drawn: reports, dashboards.

The colours are Okabe and Ito's set (2008), made to be told apart without colour vision, and greys for what is no activity. They
are never the only sign: a drawing has patterns or words beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "final_training": "#0072b2",
        "exploration": "#e69f00",
        "data_generation": "#009e73",
        "evaluation": "#cc79a7",
        "inference": "#56b4e9",
        "unclassified": "#d55e00",
        "idle": "#8c8c8c",
        "bill_idle": "#b5b5b5",
        "shared": "#f0e442",
    }
)

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "final_training": "",
        "exploration": "////",
        "data_generation": "\\\\\\\\",
        "evaluation": "xxxx",
        "inference": "----",
        "unclassified": "++++",
        "idle": "",
        "bill_idle": "||||",
        "shared": "//",
    }
)
"""In matplotlib's letters."""
