#pragma once
int ck_x(void);
