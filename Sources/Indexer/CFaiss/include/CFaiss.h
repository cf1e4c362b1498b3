#pragma once
#ifdef __cplusplus
extern "C" {
#endif
int cfaiss_x(const char* p);
#ifdef __cplusplus
}
#endif
