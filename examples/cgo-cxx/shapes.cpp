#include "shapes.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstring>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

extern "C" void goLog(char *text);

namespace {

// Static initializers: each notes its name when it runs.
std::string &order() {
  static std::string text;
  return text;
}

struct Note {
  explicit Note(const char *name) { order() += (order().empty() ? "" : " ") + std::string(name); }
};

Note first("first");
Note second("second");
const std::map<std::string, int> table = {{"one", 1}, {"two", 2}, {"three", 3}};
Note third(("third:" + std::to_string(table.size())).c_str());

struct ParseError : std::runtime_error {
  ParseError(const std::string &what, size_t place)
      : std::runtime_error(what + " at " + std::to_string(place)) {}
};

class Parser {
public:
  explicit Parser(const std::string &text) : text_(text) {}

  double parse() {
    double value = sum();
    if (peek())
      throw ParseError("unexpected character", at_);
    return value;
  }

private:
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])))
      at_++;
    return at_ < text_.size() ? text_[at_] : 0;
  }

  double sum() {
    double value = product();
    for (char op = peek(); op == '+' || op == '-'; op = peek()) {
      at_++;
      double other = product();
      value = op == '+' ? value + other : value - other;
    }
    return value;
  }

  double product() {
    double value = atom();
    for (char op = peek(); op == '*' || op == '/'; op = peek()) {
      at_++;
      double other = atom();
      if (op == '/' && other == 0)
        throw std::domain_error("division by zero");
      value = op == '*' ? value * other : value / other;
    }
    return value;
  }

  double atom() {
    char next = peek();
    if (next == '-') {
      at_++;
      return -atom();
    }
    if (next == '(') {
      at_++;
      double value = sum();
      if (peek() != ')')
        throw ParseError("missing )", at_);
      at_++;
      return value;
    }
    if (!std::isdigit(static_cast<unsigned char>(next)))
      throw ParseError("expected a number", at_);
    size_t used = 0;
    double value = std::stod(text_.substr(at_), &used);
    at_ += used;
    return value;
  }

  std::string text_;
  size_t at_ = 0;
};

class Shape {
public:
  virtual ~Shape() = default;
  virtual double area() const = 0;
};

class Rectangle : public Shape {
public:
  Rectangle(double width, double height) : width_(width), height_(height) {}
  double area() const override { return width_ * height_; }

protected:
  double width_, height_;
};

class Square : public Rectangle {
public:
  explicit Square(double side) : Rectangle(side, side) {}
};

class Named {
public:
  virtual ~Named() = default;
  virtual const char *name() const { return "named"; }
};

class Triangle : public Shape, public virtual Named {
public:
  Triangle(double base, double height) : base_(base), height_(height) {}
  double area() const override { return base_ * height_ / 2; }
  const char *name() const override { return "triangle"; }

private:
  double base_, height_;
};

int destroyed = 0;

struct Guard {
  ~Guard() { destroyed++; }
};

[[gnu::noinline]] void descend(int depth) {
  Guard guard;
  volatile char frame[64];
  frame[depth % 64] = 1;
  if (depth == 0)
    throw std::out_of_range("bottom");
  descend(depth - 1);
  frame[0] = 2;
}

template <class T, class Compare> std::vector<T> ordered(std::vector<T> items, Compare compare) {
  std::sort(items.begin(), items.end(), compare);
  return items;
}

template <class T> std::string joined(const std::vector<T> &items) {
  std::ostringstream out;
  for (const T &item : items)
    out << item << ' ';
  return out.str();
}

std::atomic<int> counted{0};

struct PerThread {
  int value = 0;
  ~PerThread() { counted += value; }
};

thread_local PerThread per_thread;

const char *keep(const std::string &text) {
  static std::vector<std::unique_ptr<std::string>> kept;
  kept.push_back(std::make_unique<std::string>(text));
  return kept.back()->c_str();
}

}  // namespace

const char *initialized() { return order().c_str(); }

char *evaluate(const char *expression, double *result) {
  try {
    *result = Parser(expression).parse();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  }
}

double total_area() {
  std::vector<std::unique_ptr<Shape>> shapes;
  shapes.push_back(std::make_unique<Rectangle>(2, 3));
  shapes.push_back(std::make_unique<Square>(4));
  shapes.push_back(std::make_unique<Triangle>(6, 5));
  double total = std::accumulate(shapes.begin(), shapes.end(), 0.0,
                                 [](double sum, const auto &shape) { return sum + shape->area(); });
  auto *named = dynamic_cast<Named *>(shapes.back().get());
  bool none = dynamic_cast<Named *>(shapes.front().get()) == nullptr;
  return named && none && std::strcmp(named->name(), "triangle") == 0 ? total : -1;
}

int unwind_depth(int depth) {
  destroyed = 0;
  try {
    descend(depth);
  } catch (const std::logic_error &) {
    return destroyed;
  }
  return -1;
}

const char *catch_each() {
  std::string caught;
  for (int kind = 0; kind < 6; kind++) {
    try {
      try {
        switch (kind) {
        case 0: throw 42;
        case 1: throw std::string("text");
        case 2: throw std::invalid_argument("argument");
        case 3: return keep(std::to_string(std::vector<int>(1).at(5)));
        case 4: throw Square(3);
        default: throw 2.5;
        }
      } catch (const std::invalid_argument &error) {
        caught += std::string("first ") + error.what() + ", ";
        throw;
      }
    } catch (int number) {
      caught += "int " + std::to_string(number) + ", ";
    } catch (const std::string &text) {
      caught += "string " + text + ", ";
    } catch (const std::logic_error &) {
      caught += "logic_error, ";
    } catch (const Shape &shape) {
      caught += "shape of " + std::to_string(static_cast<int>(shape.area())) + ", ";
    } catch (...) {
      caught += "something else";
    }
  }
  return keep(caught);
}

const char *sorted() {
  auto numbers = ordered(std::vector<int>{5, 3, 9, 1}, std::greater<int>());
  auto words = ordered(std::vector<std::string>{"pear", "fig", "banana"},
                       [](const auto &a, const auto &b) { return a.size() < b.size(); });
  return keep(joined(numbers) + joined(words));
}

void log_from_cxx() {
  std::string text = "a callback, with " + std::to_string(table.at("three")) + " entries";
  goLog(text.data());
}

int thread_locals() {
  counted = 0;
  std::vector<std::thread> threads;
  for (int i = 1; i <= 4; i++)
    threads.emplace_back([i] { per_thread.value += i; });
  for (auto &thread : threads)
    thread.join();
  return counted;
}

void print_with_iostream() {
  std::cout << "iostream: " << std::setw(8) << std::setfill('.') << 42 << ' ' << std::hex
            << std::showbase << 255 << std::dec << ' ' << std::fixed << std::setprecision(3)
            << 3.14159 << ' ' << std::boolalpha << true << std::endl;
}
