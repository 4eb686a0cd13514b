#include <iostream>
#include <vector>
#include <string>
#include <map>
#include <stdexcept>
struct A{virtual ~A(){} virtual int f(){return 1;}}; struct B:A{int f()override{return 2;}};
static std::map<std::string,int> m{{"a",1},{"b",2}};
thread_local std::string tls="x";
template<class T> T sq(T x){ if(x>1000) throw std::runtime_error("big"); return x*x;}
inline int counter(){static int c=0; return ++c;}
int main(int c,char**v){ try{ std::cout<<sq(c*1001)<<"\n";}catch(std::exception&e){std::cout<<e.what()<<m.size()<<tls<<counter();} A*a=new B; int r=a->f(); delete a; return r; }
