# Every amd64 relocation, with and without addends, against symbols and sections.
.section __TEXT,__text,regular,pure_instructions
.globl _main
.p2align 4
_main:
  callq _local
  callq _imported
  jmp _local
  leaq _data(%rip), %rax
  leaq _data+8(%rip), %rax
  leaq _data-4(%rip), %rax
  movb $1, _data(%rip)
  movb $1, _data+3(%rip)
  movw $2, _data(%rip)
  movl $3, _data(%rip)
  movl $3, _data+5(%rip)
  cmpb $0, L_private(%rip)
  movl $7, L_private+4(%rip)
  leaq L_private+1(%rip), %rcx
  movq _imported@GOTPCREL(%rip), %rax
  movq _local@GOTPCREL(%rip), %rax
  pushq _local@GOTPCREL(%rip)
  cmpq $0, _imported@GOTPCREL(%rip)
  movl $0x12345678, %eax
  movq _thread@TLVP(%rip), %rdi
  leaq _common(%rip), %rdx
  leaq _differences(%rip), %rsi
  leaq _table(%rip), %rsi
  retq

.globl _local
.p2align 4
_local:
  leaq _weak(%rip), %rax
  retq

.globl _dropped
.p2align 4
_dropped:
  callq _never_defined
  retq

.section __TEXT,__const
.p2align 3
.globl _table
_table:
  .long _local-_table
  .long _main-_table+4
  .quad _main-_local

.section __DATA,__data
.p2align 3
.globl _data
_data:
  .quad _local
  .quad _local+3
  .quad _imported
  .quad _imported+16
  .quad L_private
  .quad L_private+2
.globl _differences
.p2align 3
_differences:
  .quad _data-_differences
  .quad _data-_differences+9
  .long _differences-_data
  .long 0

.globl _weak
.weak_definition _weak
.p2align 3
_weak:
  .quad _table
.zerofill __DATA,__bss,_buffer,64,4

.section __DATA,__more
.p2align 3
L_private:
  .quad 1
  .quad _buffer+8

.section __DATA,__thread_vars,thread_local_variables
.globl _thread
_thread:
  .quad __tlv_bootstrap
  .quad 0
  .quad _thread$tlv$init
.section __DATA,__thread_data,thread_local_regular
.p2align 3
_first$tlv$init:
  .quad 5
_thread$tlv$init:
  .quad 6

.comm _common,24,3
.subsections_via_symbols
