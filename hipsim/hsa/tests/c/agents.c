/* What the agents say: the attributes without which the HIP runtimes give a device up, pools, and one ISA each. */
#define _GNU_SOURCE
#include "hsa.h"

static int isas;
static hsa_status_t note_isa(hsa_isa_t isa, void *data) {
    uint32_t length = 0;
    char name[128] = "";
    OK(hsa_isa_get_info_alt(isa, 0, &length));
    OK(hsa_isa_get_info_alt(isa, 1, name));
    TRUE(length == strlen(name) + 1);
    printf("isa %s\n", name);
    isas++;
    (void)data;
    return 0;
}

int main(void) {
    static const int needed[] = {0, 1, 3, 4, 6, 7, 8, 12, 14, 17, 18, 20, 21, 22, 0xA000, 0xA001, 0xA002, 0xA003, 0xA004,
                                 0xA006, 0xA007, 0xA008, 0xA009, 0xA00A, 0xA00B, 0xA00E, 0xA00F, 0xA010, 0xA011, 0xA012,
                                 0xA013, 0xA014, 0xA015, 0xA016, 0xA10A, 0xA111, 0xA114};
    start();
    printf("gpus %d\n", gpu_count);
    for (int i = 0; i < gpu_count; i++)
        for (size_t n = 0; n < sizeof needed / sizeof *needed; n++) {
            char value[256];
            OK(hsa_agent_get_info(gpus[i], needed[n], value));
        }
    for (int i = 0; i < gpu_count; i++) {
        uint32_t bus = 0, units = 0;
        char uuid[32] = "";
        OK(hsa_agent_get_info(gpus[i], 0xA006, &bus));
        OK(hsa_agent_get_info(gpus[i], 0xA002, &units));
        OK(hsa_agent_get_info(gpus[i], 0xA011, uuid));
        printf("bus %u units %u %s\n", bus >> 8, units, uuid);
        isas = 0;
        OK(hsa_agent_iterate_isas(gpus[i], note_isa, NULL));
        TRUE(isas == 1);
    }
    TRUE(hsa_agent_get_info((hsa_agent_t){12345}, 0, &isas) == 0x1004);
    TRUE(hsa_agent_get_info(gpus[0], 0xBEEF, &isas) == 0x1001);
    /* The host: fine-grained, arguments of kernels, coarse. The device: coarse, fine, memory of a workgroup. */
    pool_of(cpu, 2), pool_of(cpu, 3), pool_of(cpu, 4);
    pool_of(gpus[0], 4), pool_of(gpus[0], 2);
    TRUE(hsa_ext_image_create(gpus[0], NULL, NULL, 0, NULL) == 0x3000);
    struct { const char *text; uint64_t guard; } build = {NULL, 42};
    OK(hsa_system_get_info(0x200, &build));
    TRUE(build.guard == 42 && !strncmp(build.text, "hsasim ", 7));
    const char *text = NULL;
    OK(hsa_status_string(0x1008, &text));
    printf("%s\n", text);
    /* Exported by the real library, called by no HIP runtime. */
    TRUE(hsa_region_get_info(1, 0, &isas) == 47);
    OK(hsa_shut_down());
    return 0;
}
