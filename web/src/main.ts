// The console begins here.
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { keep } from './lib/offline';
import { shell } from './lib/shell.svelte';

shell.start();
const target = document.getElementById('app');
if (target) mount(App, { target });
// What is seen comes first.
addEventListener('load', () => void keep(), { once: true });
