/** The version of event ids that this package was written for. Servers read older ones, too. */
export const PROTOCOL = 1;
