#define LAB_VERSION "1.0.0"
