// Whether single keys do something: who dictates, or hits keys by accident, switches them off.
import { keep, recall } from "./storage";

class Shortcuts {
  on = $state(recall("device", "shortcuts") !== "off");

  turn(on: boolean): void {
    this.on = on;
    keep("device", "shortcuts", on ? null : "off");
  }
}

export const shortcuts = new Shortcuts();
