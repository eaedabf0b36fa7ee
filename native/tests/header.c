/* The header is C99, and what it declares can be linked. */
#include "fmedge_chain.h"

int main(void) {
    return fmedge_chain_abi() == FMEDGE_CHAIN_ABI && fmedge_chain_status_text(FMEDGE_CHAIN_OK) ? 0 : 1;
}
