package inner

// Name is set by -X.
var Name = "unset"
