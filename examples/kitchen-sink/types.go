package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
)

type point struct{ X, Y int }

type shape interface {
	Area() float64
	Name() string
}

type rectangle struct {
	Width  float64 `unit:"cm"`
	Height float64 `unit:"cm"`
}

type square struct{ rectangle }

func (r rectangle) Area() float64      { return r.Width * r.Height }
func (r rectangle) Name() string       { return "rectangle" }
func (r *rectangle) Scale(by float64)  { r.Width *= by; r.Height *= by }
func (s square) Name() string          { return "square" }
func (s square) Greet(n string) string { return "hello " + n }

// number and tree make generic code with methods, constraints and several instances.
type number interface {
	~int | ~int8 | ~float64
}

type celsius float64

type tree[K cmp.Ordered, V any] struct {
	root *branch[K, V]
}

type branch[K cmp.Ordered, V any] struct {
	key         K
	value       V
	left, right *branch[K, V]
}

func (t *tree[K, V]) Put(key K, value V) {
	at := &t.root
	for *at != nil {
		switch c := cmp.Compare(key, (*at).key); {
		case c < 0:
			at = &(*at).left
		case c > 0:
			at = &(*at).right
		default:
			(*at).value = value
			return
		}
	}
	*at = &branch[K, V]{key: key, value: value}
}

func (t *tree[K, V]) All(yield func(K, V) bool) { t.root.walk(yield) }

func (b *branch[K, V]) walk(yield func(K, V) bool) bool {
	return b == nil || b.left.walk(yield) && yield(b.key, b.value) && b.right.walk(yield)
}

func total[T number](values ...T) (sum T) {
	for _, v := range values {
		sum += v
	}
	return
}

func apply[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func generics() {
	fmt.Println(total(1, 2, 3), total[int8](100, 27), total(celsius(1.5), 2))
	var words tree[string, int]
	for i, w := range strings.Fields("the quick brown fox jumps over the lazy dog") {
		words.Put(w, i)
	}
	words.All(func(k string, v int) bool { fmt.Print(k, "=", v, " "); return k != "over" })
	fmt.Println()
	points := tree[float64, point]{}
	points.Put(2.5, point{1, 2})
	fmt.Printf("%T %v\n", points, apply([]int{1, 2}, func(n int) point { return point{n, -n} }))
}

var initialized = map[string][]int{"primes": {2, 3, 5, 7}, "squares": {1, 4, 9}}

// mapTypes uses keys of the kinds that the run-time hashes differently, and a map that grows.
func mapTypes() {
	points := map[point]string{{1, 2}: "a", {3, 4}: "b"}
	mixed := map[any]int{1: 1, "one": 2, 1.0: 3, point{1, 1}: 4}
	pairs := map[[2]string]bool{{"x", "y"}: true}
	fmt.Println(points[point{3, 4}], mixed[1.0], mixed[point{1, 1}], pairs[[2]string{"x", "y"}])
	fmt.Println(slices.Sorted(maps.Keys(initialized)), initialized["primes"])
	grown := make(map[int]int)
	for i := range 10000 {
		grown[i*7919] = i
	}
	for i := range 5000 {
		delete(grown, i*2*7919)
	}
	fmt.Println(len(grown), grown[3*7919])
}

func interfaces() {
	for _, s := range []shape{rectangle{2, 3}, &rectangle{1, 1}, square{rectangle{2, 2}}} {
		fmt.Println(s.Name(), s.Area())
	}
	sq := square{rectangle{3, 3}}
	scale, area, name := sq.Scale, rectangle.Area, shape.Name
	scale(2)
	fmt.Println(area(sq.rectangle), name(sq))
	var w io.Writer = &strings.Builder{}
	fmt.Fprint(w, "through io.Writer")
	if s, ok := w.(fmt.Stringer); ok {
		fmt.Println(s)
	}
}

// reflection finds methods by name, constant and computed, so that dead-code elimination must not
// drop them, and makes types at run time.
func reflection() {
	v := reflect.ValueOf(square{rectangle{2, 5}})
	fmt.Println(v.MethodByName("Greet").Call([]reflect.Value{reflect.ValueOf("reflection")})[0])
	name := strings.Join([]string{"Ar", "ea"}, "")
	fmt.Println(v.MethodByName(name).Call(nil)[0])
	t := v.Type()
	for i := range t.NumMethod() {
		fmt.Print(t.Method(i).Name, t.Method(i).Type, " ")
	}
	fmt.Println()
	field, _ := t.FieldByName("Width")
	fmt.Println(field.Tag.Get("unit"), field.Index, t.Implements(reflect.TypeFor[shape]()))
	made := reflect.MakeMap(reflect.MapOf(reflect.TypeFor[string](), reflect.SliceOf(t)))
	made.SetMapIndex(reflect.ValueOf("k"), reflect.MakeSlice(reflect.SliceOf(t), 1, 1))
	fmt.Println(made.Type(), made)
	swap := reflect.MakeFunc(reflect.TypeFor[func(int, int) (int, int)](),
		func(in []reflect.Value) []reflect.Value { return []reflect.Value{in[1], in[0]} })
	fmt.Println(swap.Interface().(func(int, int) (int, int))(1, 2))
	structure := reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[int]()}})
	fmt.Println(structure, reflect.DeepEqual([]point{{1, 2}}, []point{{1, 2}}))
}
