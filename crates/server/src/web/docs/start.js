// The validator is a service elsewhere, and this page asks nobody but its own server.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  deepLinking: true,
  filter: true,
  defaultModelsExpandDepth: 0,
});
