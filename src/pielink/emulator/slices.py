"""Time slices: stop the processor after so many basic blocks.

Unicorn can be stopped safely from its own hooks only (a stop from another thread, or its timeout,
may leave the middle of a block and go on at the block's beginning later). Its instruction count
is safe, but calls a hook at every instruction. So a block hook counts down instead; since it runs
at every block, it is a few instructions of the host's machine code, not Python. Where no such
code is at hand for the host, the instruction count has to do.

The code: *user_data is the counter; below zero, jump to user_data[1], which is uc_emu_stop, with
the first argument (the engine) as it came.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Any

from unicorn import unicorn_const as uc_const
from unicorn.unicorn_py3.unicorn import uclib

_COUNT_DOWN = {
    # dec qword [rcx]; js 1f; ret; 1: jmp [rcx + 8]
    "x86_64": bytes.fromhex("48ff09 7801 c3 ff6108"),
    # ldr x4, [x3]; subs x4, x4, #1; str x4, [x3]; b.mi 1f; ret; 1: ldr x4, [x3, #8]; br x4
    "aarch64": bytes.fromhex("640040f9 840400f1 640000f9 44000054 c0035fd6 640440f9 80001fd6"),
}
_INSTRUCTIONS_PER_BLOCK = 5


class Slices:
    """Runs the processor for a bounded number of blocks."""

    def __init__(self, uc: Any) -> None:
        self.uc = uc
        self._counter = (ctypes.c_int64 * 2)()
        self._code = self._install()

    def _install(self) -> mmap.mmap | None:
        """Hook every block with the host code; None when this host has none."""
        code = _COUNT_DOWN.get(platform.machine())
        if code is None:
            return None
        try:
            page = mmap.mmap(
                -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            )
        except OSError:  # a host that forbids pages that are writable and executable
            return None
        page[: len(code)] = code
        self._counter[1] = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self.uc._uch,
            ctypes.byref(handle),
            uc_const.UC_HOOK_BLOCK,
            ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))),
            ctypes.c_void_p(ctypes.addressof(self._counter)),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        return page if status == uc_const.UC_ERR_OK else None

    def run(self, pc: int, blocks: int) -> None:
        """Emulate from `pc` for at most `blocks` blocks (UcError for a fault)."""
        if self._code is None:
            self.uc.emu_start(pc, 0x10, 0, blocks * _INSTRUCTIONS_PER_BLOCK)
            return
        self._counter[0] = blocks
        self.uc.emu_start(pc, 0x10)
