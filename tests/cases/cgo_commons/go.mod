module cgo_commons

go 1.26
