import CCurl
func f() {}
