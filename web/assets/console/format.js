/** Numbers and times as text. */

export const number = new Intl.NumberFormat("en");
export const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const DAY_MS = 86_400_000;

const two = (value) => String(value).padStart(2, "0");

/** The time of day, by this machine's clock. */
export function clock(ms) {
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** The time of day with milliseconds; the date instead of these where it is not today's. */
export function moment(ms) {
  const time = new Date(ms);
  if (time.toDateString() === new Date().toDateString()) return `${clock(ms)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock(ms)}`;
}

/** RFC 3339; "" for a number that is no time. */
export const iso = (ms) => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : "");

/** Events a second. */
export const perSecond = (rate) => (rate >= 1000 ? short.format(rate) : rate >= 10 || rate === 0 ? number.format(Math.round(rate)) : rate.toFixed(1));

/** A duration in its two largest units. */
export function duration(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (Math.abs(ms) < 1000) return `${Math.round(Math.abs(ms))} ms`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return [`${Math.floor(seconds / 60)} min`, seconds % 60 && `${seconds % 60} s`].filter(Boolean).join(" ");
  if (Math.abs(ms) < DAY_MS) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${number.format(Math.floor(Math.abs(ms) / DAY_MS))} d`;
}

/** A latency: short, and the same width as long as its size is. */
export const latency = (ms) => (Math.abs(ms) < 1000 ? `${Math.round(ms)} ms` : Math.abs(ms) < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms));
