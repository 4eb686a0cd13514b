/* Calls one function of each library. */
int printf(const char *format, ...);
int v0(void);
int v1(void);
int v2(void);
int v3(void);
int v4(void);
int v5(void);
int v6(void);
int v7(void);
int v8(void);
int v9(void);
int v10(void);
int v11(void);
int v12(void);
int v13(void);
int v14(void);
int v15(void);
int v16(void);
int v17(void);
int v18(void);
int v19(void);
int v20(void);
int v21(void);
int v22(void);
int v23(void);
int v24(void);
int v25(void);
int v26(void);
int v27(void);
int v28(void);
int v29(void);
int v30(void);
int v31(void);
int v32(void);
int v33(void);
int v34(void);
int v35(void);
int v36(void);
int v37(void);
int v38(void);
int v39(void);

#define SHOW(n) printf("v%d %d\n", n, v##n());

int main(void) {
    SHOW(0)
    SHOW(1)
    SHOW(2)
    SHOW(3)
    SHOW(4)
    SHOW(5)
    SHOW(6)
    SHOW(7)
    SHOW(8)
    SHOW(9)
    SHOW(10)
    SHOW(11)
    SHOW(12)
    SHOW(13)
    SHOW(14)
    SHOW(15)
    SHOW(16)
    SHOW(17)
    SHOW(18)
    SHOW(19)
    SHOW(20)
    SHOW(21)
    SHOW(22)
    SHOW(23)
    SHOW(24)
    SHOW(25)
    SHOW(26)
    SHOW(27)
    SHOW(28)
    SHOW(29)
    SHOW(30)
    SHOW(31)
    SHOW(32)
    SHOW(33)
    SHOW(34)
    SHOW(35)
    SHOW(36)
    SHOW(37)
    SHOW(38)
    SHOW(39)
    return 0;
}
