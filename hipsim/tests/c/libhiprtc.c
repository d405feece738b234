/* Stands for the real compiler library: what it returns shows that it was asked, and with all its arguments. */
int hiprtcVersion(int *major, int *minor) {
    *major = 6, *minor = 4;
    return 0;
}

int hiprtcLinkAddData(long a, long b, long c, long d, long e, long f, long g, long h) {
    return (int)(a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h);
}
