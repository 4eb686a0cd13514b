"""What only objects of C, C++, Objective-C and assembly need: passes over columns, without Go.

`tables` declares what the passes take and give; `libsearch` and `libraries` find and read dynamic
libraries; the other files hold one pass each.
"""
