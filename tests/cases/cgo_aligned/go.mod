module cgoaligned
go 1.26
