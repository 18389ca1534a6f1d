/** Size of a page; the only one CRIU has on x86-64. */
export const pageBytes = 4096;
