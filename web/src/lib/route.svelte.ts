// Where in the page we are.
import { type Place, type Query, address, parse } from "./hash";
import { mayLeave } from "./held";

/** A path as one text, its parts as they stand in the address. */
function nameOf(place: Place): string {
  return place.path.map(encodeURIComponent).join("/");
}

class Route {
  #hash = $state(location.hash);
  #place = $derived(parse(this.#hash));
  /** The path as one text, its parts as they stand in the address: another one is another page. What is asked of a page does not change it. */
  readonly name = $derived(nameOf(this.#place));
  /** How often another page was gone to: the first one does not take the focus. */
  moves = 0;

  constructor() {
    addEventListener("hashchange", () => {
      const isOther = nameOf(parse(location.hash)) !== this.name;
      if (isOther && !mayLeave()) {
        history.pushState(history.state, "", this.#hash || "#/");
        return;
      }
      this.#hash = location.hash;
      if (isOther) this.moves += 1;
    });
  }

  get path(): string[] {
    return this.#place.path;
  }

  get query(): URLSearchParams {
    return this.#place.query;
  }

  /** Goes to an address, as a link does. */
  go(hash: string): void {
    location.hash = hash;
  }

  /** Asks something else of the same page. Nothing is added to the browser's history. */
  ask(query: Query): void {
    history.replaceState(history.state, "", address(this.path, query));
    this.#hash = location.hash;
  }
}

export const route = new Route();
