"""Ctrl-C at every moment at which it may fall, one after the other."""

import dis
import sys

# what CPython has just done when it looks whether a signal has come
LOOKS = ("CALL", "RESUME", "JUMP_BACKWARD")


def interrupted(act, modules, moment):
    """Runs act() with a KeyboardInterrupt at moment 0, 1, ... in the code of these modules and packages.

    False where act ended before that moment came."""
    places = tuple(module.__file__.removesuffix("__init__.py") for module in modules)
    last, moments = {}, 0

    def trace(frame, event, arg):
        nonlocal moments
        if not frame.f_code.co_filename.startswith(places):
            return None
        frame.f_trace_opcodes = True
        if event == "call":
            last[id(frame)] = ""  # not the frame itself: what it holds must be let go
        if event == "opcode":
            done = last[id(frame)]
            last[id(frame)] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if done.startswith(LOOKS):
                moments += 1
                if moments > moment:
                    raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    assert moments <= moment, "KeyboardInterrupt was swallowed"
    return False
