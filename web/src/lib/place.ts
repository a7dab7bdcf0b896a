/** Where this page is served: whatever comes before it in the path, its APIs have too. */
export const base: URL = new URL(".", document.baseURI);
