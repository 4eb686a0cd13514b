"""What macOS is known to have, for a link without an SDK: names only, no lists of symbols.

Facts of the macOS SDK: which names in /usr/lib lead to libSystem, under which install names the
other common libraries are loaded, and where frameworks keep their binary. Somebody who links
against a library that is not here needs its stub or the SDK (-syslibroot).
"""

from __future__ import annotations

LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
# -l names that are links to libSystem in the SDK.
LIBSYSTEM_ALIASES = frozenset(
    ("System", "System.B", "c", "dbm", "dl", "info", "m", "poll", "proc", "pthread", "rpcsvc")
)
# -l name -> install name.
LIBRARIES = {
    "bz2": "/usr/lib/libbz2.1.0.dylib",
    "c++": "/usr/lib/libc++.1.dylib",
    "c++abi": "/usr/lib/libc++abi.dylib",
    "compression": "/usr/lib/libcompression.dylib",
    "curl": "/usr/lib/libcurl.4.dylib",
    "edit": "/usr/lib/libedit.3.dylib",
    "expat": "/usr/lib/libexpat.1.dylib",
    "ffi": "/usr/lib/libffi.dylib",
    "iconv": "/usr/lib/libiconv.2.dylib",
    "icucore": "/usr/lib/libicucore.A.dylib",
    "ncurses": "/usr/lib/libncurses.5.4.dylib",
    "objc": "/usr/lib/libobjc.A.dylib",
    "pam": "/usr/lib/libpam.2.dylib",
    "pcap": "/usr/lib/libpcap.A.dylib",
    "resolv": "/usr/lib/libresolv.9.dylib",
    "sandbox": "/usr/lib/libsandbox.1.dylib",
    "sqlite3": "/usr/lib/libsqlite3.dylib",
    "util": "/usr/lib/libutil.dylib",
    "xml2": "/usr/lib/libxml2.2.dylib",
    "z": "/usr/lib/libz.1.dylib",
}
# Frameworks whose binary is in Versions/A, and those that say otherwise.
FRAMEWORKS = dict.fromkeys(
    (
        *("AVFoundation", "Accelerate", "Accounts", "AddressBook", "ApplicationServices"),
        *("AudioToolbox", "AudioUnit", "CFNetwork", "Carbon", "CloudKit", "Cocoa", "Collaboration"),
        *("Contacts", "CoreAudio", "CoreBluetooth", "CoreData", "CoreFoundation", "CoreGraphics"),
        *("CoreImage", "CoreLocation", "CoreMIDI", "CoreML", "CoreMedia", "CoreServices"),
        *(
            "CoreText",
            "CoreVideo",
            "CoreWLAN",
            "CryptoTokenKit",
            "DiskArbitration",
            "DiskManagement",
        ),
        *("EventKit", "FSEvents", "ForceFeedback", "GLUT", "GSS", "GameController", "GameKit"),
        *("Hypervisor", "IOBluetooth", "IOKit", "IOSurface", "ImageIO", "InputMethodKit"),
        *("Kerberos", "LDAP", "LocalAuthentication", "MapKit", "Metal", "MetalKit", "ModelIO"),
        *("NetFS", "Network", "NetworkExtension", "NotificationCenter", "OSLog", "OpenAL"),
        *("OpenCL", "OpenDirectory", "OpenGL", "PCSC", "Photos", "PushKit", "Quartz", "QuartzCore"),
        *("QuickLook", "SafariServices", "SceneKit", "ScreenCaptureKit", "ScreenSaver"),
        *("ScriptingBridge", "Security", "SecurityFoundation", "ServiceManagement", "Speech"),
        *("SpriteKit", "StoreKit", "SystemConfiguration", "SystemExtensions", "UserNotifications"),
        *("VideoToolbox", "Virtualization", "Vision", "WebKit", "vmnet"),
    ),
    "A",
) | dict.fromkeys(("AppKit", "Foundation"), "C")


def framework_install_name(name: str) -> str | None:
    """Return the install name of a framework of macOS, or None where it is not known."""
    version = FRAMEWORKS.get(name)
    return version and f"/System/Library/Frameworks/{name}.framework/Versions/{version}/{name}"
