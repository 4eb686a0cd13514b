"""Tables about the code of host objects that are split into atoms; see native/codetables.py."""

from __future__ import annotations

import numpy as np

from pielink.native.codetables import data_in_code, function_starts
from pielink.passes.host import HostCode
from pielink.passes.hosttables import HostRows
from pielink.passes.layout import header_address
from pielink.tables import I4, Layout


def code_tables(code: HostCode, host: HostRows, layout: Layout, functions: I4) -> dict[str, bytes]:
    """Contents by name as in headers.CODE_TABLES; `functions` are the rows of all functions."""
    prepared = code.prepared
    header = header_address(layout.segments)
    address = np.where(host.carriers > 0, layout.address[host.carriers], 0)
    live = prepared.live & (host.carriers > 0)
    found = {
        "function_starts": function_starts(layout.address[functions], header),
        "data_in_code": data_in_code(
            prepared.host, prepared.atoms, address, live, header
        ).tobytes(),
    }
    return {name: content for name, content in found.items() if content}
