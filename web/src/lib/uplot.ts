// What draws charts, with its sheet: loaded with the first chart.
import 'uplot/dist/uPlot.min.css';

export { default } from 'uplot';
