import { _lead } from "./index.js";

// Its name is that of the channel.
void _lead((globalThis as { name?: string }).name!);
