module cgoexports
go 1.26
