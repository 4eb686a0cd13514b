DATA offset<>+0(SB)/8, $0
GLOBL offset<>(SB), 8, $8

TEXT ·Add(SB), 4, $0-24
	MOVQ a+0(FP), AX
	ADDQ b+8(FP), AX
	ADDQ offset<>(SB), AX
	MOVQ AX, ret+16(FP)
	RET
