module pielink.example

go 1.26
