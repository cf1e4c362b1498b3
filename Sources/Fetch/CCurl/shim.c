#include "CCurl.h"
int ccurl_x(void) { return (int)curl_global_init(CURL_GLOBAL_ALL);}
