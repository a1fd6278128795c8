// What the README's recipes take as given.

interface Order {
  total: number;
}
interface Price {
  amount: number;
}
declare function draw(...what: unknown[]): void;
declare function reload(why: string): void;
declare function send(what: string): Promise<void>;
declare const userId: string;
