module overrun

go 1.26
