// A program outside of this repository that uses the installed core: the check value of CRC-32 has to come out.
#include "core/crc32/crc32.h"

int main() { return hermes::crc32(0, "123456789", 9) == 0xCBF43926u ? 0 : 1; }
