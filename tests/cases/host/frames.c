// Functions whose frames compact unwinding can and cannot describe: large frames, frames
// without a frame pointer, a stack pointer that moves (which takes DWARF).
#include <alloca.h>
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }

__attribute__((noinline)) int large(int x) {
  volatile char buffer[70000];
  buffer[x] = 1;
  return leaf(buffer[x]) + buffer[x];
}

__attribute__((noinline)) int registers(int a, int b, int c, int d, int e, int f) {
  int s = leaf(a) + leaf(b) + leaf(c) + leaf(d) + leaf(e) + leaf(f);
  return s + a + b + c + d + e + f;
}

__attribute__((noinline)) int moving(int n) {
  char *p = alloca(n);
  memset(p, n, n);
  return leaf(p[0]) + p[n - 1];
}

int odd(int x);
__asm__(".text\n.globl _odd\n.p2align 4\n_odd:\n.cfi_startproc\n"
        "pushq %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\n"
        "leaq -64(%rsp), %rsp\n.cfi_adjust_cfa_offset 64\n"
        "movl %edi, %ebx\n.cfi_escape 0x2e, 0x10\ncallq _leaf\naddl %ebx, %eax\n"
        "leaq 64(%rsp), %rsp\n.cfi_adjust_cfa_offset -64\n"
        "popq %rbx\n.cfi_def_cfa_offset 8\nretq\n.cfi_endproc\n");

int main(int argc, char **argv) {
  int sum = large(argc) + registers(1, 2, 3, argc, 5, 6) + moving(argc + 8) + odd(argc);
  printf("%d\n", sum);
  return 0;
}
