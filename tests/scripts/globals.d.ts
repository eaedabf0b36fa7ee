// What the pages' scripts find in the browser beside what TypeScript knows.
declare const Plotly: any;
interface Window { Plotly?: any }
