#include "CKernels.h"
int ck_x(void) {return 3;}
