#define NOSPLIT 4
#define NOFRAME 512

// Asks for stack, so none of what it calls counts for it.
TEXT ·start(SB),0,$0-0
	CALL ·alone(SB)
	CALL ·fork(SB)
	CALL ·circle(SB)
	CALL ·fits(SB)
	RET

// Too deep by itself.
TEXT ·alone(SB),NOSPLIT,$904-0
	RET

// Two of its three calls are too deep.
TEXT ·fork(SB),NOSPLIT,$24-0
	CALL ·left(SB)
	CALL ·fits(SB)
	CALL ·right(SB)
	RET

TEXT ·left(SB),NOSPLIT,$40-0
	CALL ·deep(SB)
	RET

TEXT ·right(SB),NOSPLIT,$72-0
	CALL ·deep(SB)
	RET

TEXT ·deep(SB),NOSPLIT,$800-0
	RET

// Its calls take 8 bytes each: one is indirect, the other asks for stack itself.
TEXT ·fits(SB),NOSPLIT,$104-0
	MOVQ $0, AX
	CALL AX
	CALL ·asks(SB)
	RET

TEXT ·asks(SB),0,$2000-0
	RET

// Call each other without end.
TEXT ·circle(SB),NOSPLIT|NOFRAME,$0-0
	CALL ·back(SB)
	RET

TEXT ·back(SB),NOSPLIT|NOFRAME,$0-0
	CALL ·circle(SB)
	RET
