// libcrypto's digest interface, for ContentDigest. OpenSSL picks the SHA
// instructions of the CPU at run time.
#include <openssl/evp.h>
