// What a program with the official JavaScript client does: an informer that says what comes, changes and goes, across
// a restart of the server, which it notices by itself.
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const say = (...words) => console.log(...words);

const path = '/api/v1/namespaces/default/configmaps';
const labelSelector = 'app=js';
const list = () => core.listNamespacedConfigMap({ namespace: 'default', labelSelector });
const informer = k8s.makeInformer(config, path, list, labelSelector);
for (const verb of ['add', 'update', 'delete']) {
    informer.on(verb, (object) => say(verb, object.metadata.name, object.data?.a ?? ''));
}
informer.on('error', (error) => {
    say('error', error?.code ?? error);
    setTimeout(() => informer.start(), 100);
});
await informer.start();
say('started');

const metadata = { name: 'own', labels: { app: 'js' } };
await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata, data: { a: '1' } } });
await core.patchNamespacedConfigMap(
    { namespace: 'default', name: 'own', body: { data: { a: '2' } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
);
const read = await core.readNamespacedConfigMap({ namespace: 'default', name: 'own' });
if (read.data.a !== '2' || !(read.metadata.creationTimestamp instanceof Date)) {
    throw new Error(JSON.stringify(read));
}
await core.deleteNamespacedConfigMap({ namespace: 'default', name: 'own' });
try {
    await core.readNamespacedConfigMap({ namespace: 'default', name: 'own' });
    throw new Error('it is still there');
} catch (error) {
    if (error.code !== 404) throw error;
}
say('alone');
