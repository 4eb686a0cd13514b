"""What depends on the processor: relocation rows, stub bytes, page sizes."""
