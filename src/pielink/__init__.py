"""pielink links macOS position-independent executables on any machine."""
