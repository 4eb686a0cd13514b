// A C++ program with every kind of fixup: rebases, binds with and without addends, weak
// definitions and imports, lazily bound functions, thread-locals, exports.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

struct Shape {
  virtual ~Shape();
  virtual int area() const = 0;
  virtual const char *name() const { return "shape"; }
};
Shape::~Shape() {}

struct Square : Shape {
  int side;
  explicit Square(int side) : side(side) {}
  int area() const override { return side * side; }
  const char *name() const override { return "square"; }
};

struct Circle : Shape {
  int radius;
  explicit Circle(int radius) : radius(radius) {}
  int area() const override { return 3 * radius * radius; }
};

template <class T> struct Box {
  T value;
  virtual T get() { return value; }
  virtual ~Box() {}
};
template struct Box<int>;
template struct Box<std::string>;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

extern "C" {
const char *words[] = {"one", "two", "three", nullptr, "four"};
int (*printer)(const char *, ...) = printf;
void *stops[2][2] = {{(void *)&puts, nullptr}, {(void *)&puts, (void *)&printf}};
char *inside = (char *)&words + 3;
extern int missing __attribute__((weak_import));
int *maybe = &missing;
extern char table[];
char *far_inside = table + 4096, *before = table - 8;
}

thread_local int counter = 3;

// Defined strongly here, weakly in the library.
void *operator new(size_t size) { return malloc(size + 1); }

int main(int argc, char **) {
  std::vector<Shape *> all{new Square(2), new Circle(3)};
  try {
    if (argc > 5) throw Error("x");
    for (auto *shape : all) printf("%s %d\n", shape->name(), shape->area() + counter);
  } catch (std::exception &error) {
    puts(error.what());
  }
}
