import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";
import { theme } from "./lib/theme.svelte";

theme.start();
const target = document.getElementById("app");
if (target !== null) mount(App, { target });
