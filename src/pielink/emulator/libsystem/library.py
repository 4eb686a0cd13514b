"""The emulated libraries; the modules beside this one fill them."""

from __future__ import annotations

from pielink.emulator.abi import Library

libsystem = Library("/usr/lib/libSystem.B.dylib")
libresolv = Library("/usr/lib/libresolv.9.dylib")
