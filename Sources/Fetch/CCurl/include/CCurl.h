#pragma once
#include <curl/curl.h>
int ccurl_x(void);
