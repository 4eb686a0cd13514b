/* Exceptions, templates, static objects, iostream and the standard library. */
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
#include <memory>
#include <sstream>
#include <algorithm>
struct Noisy { std::string n; Noisy(std::string s) : n(s) { std::cout << "make " << n << "\n"; } ~Noisy() { std::cout << "drop " << n << "\n"; } };
static Noisy global("global");
struct my_error : std::runtime_error { int code; my_error(int c) : std::runtime_error("mine"), code(c) {} };
int deep(int n) { Noisy guard("g" + std::to_string(n)); if (n == 0) throw my_error(42); return deep(n - 1) + 1; }
template <class T> T total(const std::vector<T> &v) { T t{}; for (auto &x : v) t += x; return t; }
int main(int argc, char **argv) {
  try { std::cout << deep(3) << std::endl; } catch (const my_error &e) { std::cout << "caught " << e.what() << " " << e.code << std::endl; }
  try { std::vector<int> v(3); v.at(10) = 1; } catch (const std::out_of_range &e) { std::cout << "range" << std::endl; }
  try { try { throw 5; } catch (int i) { std::cout << "int " << i << "\n"; throw; } } catch (...) { std::cout << "again\n"; }
  std::map<std::string, int> m{{"b", 2}, {"a", 1}};
  for (auto &[k, v] : m) std::cout << k << "=" << v << " ";
  std::cout << total(std::vector<double>{1.5, 2.25}) << "\n";
  std::ostringstream os; os << std::hex << 255 << " " << 3.14159; std::cout << os.str() << "\n";
  auto p = std::make_shared<Noisy>("shared"); std::istringstream is("12 34.5 word"); int a; double d; std::string w; is >> a >> d >> w; std::cout << a << " " << d << " " << w << "\n";
  std::vector<std::string> s{"pear", "apple", "fig"}; std::sort(s.begin(), s.end()); for (auto &x : s) std::cout << x << " "; std::cout << std::endl;
  if (argc > 1) throw std::logic_error("uncaught");
  return 0;
}
